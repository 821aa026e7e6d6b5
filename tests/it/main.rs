//! Integration tests, one file per aspect.
