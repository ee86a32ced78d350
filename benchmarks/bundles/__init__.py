"""Figures of bundles: mining, mapping, search, the whole pipeline and its back-test."""
