"""The trace from products with random vectors: Hutchinson, Hutch++ and XTrace, from one set of products.

Probes z are uniform on the sphere of radius sqrt(P), so that E[z z'] = I. Some probes are *sketched*: their images A
z are orthonormalized into r vectors Q (the columns here, rows in the code), and A Q is computed too. The *other*
probes are multiplied after Q has been projected out of them.

Hutchinson: the mean of z'A z over sketched probes, or over the others if there is no sketch. Hutch++ (Meyer et al.
2021): tr(Q'AQ) plus the mean of (P - r) u'A u / u'u over the others, with u = (I - QQ')z. XTrace (Epperly, Tropp and
Webber 2024, section 2.1): as Hutch++, but each sketched probe in turn is left out of Q and serves as the other probe.
All three are unbiased.

`run` iterates, `schedule` decides on the next step, `steps` multiply, `estimates` evaluates the products so far.
"""
