"""What people do with Modbus devices at a terminal: `twingateway modbus …` and `twingateway adapter test`."""
