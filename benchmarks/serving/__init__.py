"""The service under load, beside other servers: each in processes of its own, asked by the same client by turns."""
