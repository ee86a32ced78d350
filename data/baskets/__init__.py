"""Order lines to baskets: read by columns, cleaned by masks, joined with products, cut into partitions by basket.

``config``   where order lines and products are, what their columns are called, the rules of the cleaning
``columns``  batches of columns of a file in any of the formats
``items``    products, rolled up to the items that bundles are made of
``clean``    one batch: which lines are good, which are rejected and why
``landing``  lines of one piece of a file to the partitions of their baskets
``grouping`` lines of one partition to baskets
``mapping``  all of it, on many workers
``table``    baskets in memory, as compressed rows
"""
