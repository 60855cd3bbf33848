"""The composition root: builds a node's parts from its file and ends them in good order."""
