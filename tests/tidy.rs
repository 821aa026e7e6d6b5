//! Checks the layering.
