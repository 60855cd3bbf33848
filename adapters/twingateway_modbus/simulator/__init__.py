"""Modbus devices that are not there: any profile served over any transport, well or badly behaved."""
