"""The local MQTT broker for devices: embedded behind a guard, or a client to an existing one."""
