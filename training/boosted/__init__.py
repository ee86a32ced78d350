"""A ranker of boosted trees, which puts what a pipeline finds in order by features of all its steps.

``config``      which pipeline, how many trees, how large
``candidates``  what the pipeline finds for each question, as features and grades, and nDCG of orders of it
``facts``       degree and PageRank of documents, and their newest date
``trees``       LambdaMART by LightGBM; how many trees are best for questions that they have not seen
``driver``      gathers the questions, trains, compares, and writes the folder
"""
