"""A cross-encoder of the run's own, which puts what search finds in a better order.

``questions``  gathers questions and what answers them: training judgments, a share of the run's own, links, sentences
``lists``      what the first stage finds for each, written for all workers
``model``      an encoder's weights with a head of one output, and the loss over lists
``task``       what is trained: batches of lists, judged by reranked validation questions
``judge``      the weight of the first stage, Platt's curves, and the comparison with the first stage
``driver``     runs it on Ray Train and writes the folder; ``card`` describes it
"""
