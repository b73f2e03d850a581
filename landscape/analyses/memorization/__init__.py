"""Memorization by K-FAC components: what removing components of low curvature changes, and the edit that does so."""
