"""Documents and links as a graph in compressed rows, with the words of the documents."""
