"""zoo.yaml as a document: read strictly, held to its schema, several as one."""
