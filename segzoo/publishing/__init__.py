"""What others see: pictures, pages, folders that other libraries load."""
