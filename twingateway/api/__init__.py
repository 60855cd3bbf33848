"""The HTTP API, its event stream and metrics, and the webhook listener."""
