"""Bundles of products: found, measured, priced, and chosen as a portfolio on several objectives at once.

``config``     keys of the section ``bundles``      ``candidates``  sets of items, from several sources
``sources``    the four sources                     ``evidence``    what baskets say of each candidate
``response``   own-price response                   ``prices``      a price for each, never below cost
``objectives`` what a bundle is worth               ``portfolio``   objectives and constraints of a choice of bundles
``evolve``     NSGA-II and NSGA-III over choices    ``exact``       greedy and integer programme; what is feasible
``words``      a sentence for each                  ``backtest``    later baskets as judge
``outputs``    the feed of a shop system, the plan of an experiment, the report
``make``       all of it
"""
