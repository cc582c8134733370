"""What `jaxdl train` and `jaxdl predict` are made of: tables, the run folder, what is printed."""
