"""How weights go from one layout to another: a file is identified, a plan is made by names and shapes, and run tensor by tensor. Needs no torch."""
