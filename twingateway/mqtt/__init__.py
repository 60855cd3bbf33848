"""MQTT 5 between nodes, without I/O: sessions, the proof of who a node is, the mapping onto streams."""
