"""The diagonal from products with random signs, deflated by a sketch, or entry by entry.

Probes z have independent random signs, so that z * A z (entry by entry) has the diagonal of A as its mean, and the
variance sum_{j != i} A_ij^2 at entry i (Bekas, Kokiopoulou and Saad 2007). Products with r of them are orthonormalized
into Q (rows in the code), and A Q is computed too: with P = I - QQ', A is P A P plus a part of rank 2 r whose diagonal
is known, and the other probes estimate the diagonal of P A P alone (Diag++: Baston and Nakatsukasa 2022; XDiag of
Epperly, Tropp and Webber 2024 is its exchangeable form). The other probes are independent of Q and of each other, so
that their spread is an honest error of each entry. A block of sketched probes tells, before it joins Q, the spread that
the earlier rows of Q leave.

`run` iterates and decides on the next step, `state` holds the products so far.
"""
