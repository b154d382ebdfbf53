"""What other people and libraries get: pictures, pages, folders that other libraries load."""
