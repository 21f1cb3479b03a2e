"""What turns texts into vectors. Libraries of the optional extra `semantic` are imported only when one is used."""
