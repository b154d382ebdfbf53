"""zoo.yaml as a document: read strictly, checked against its schema, and several of them used as one."""
