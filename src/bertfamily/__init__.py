"""The BERT family in code: one module an idea, in the order in which the course introduces them."""
