//! One engine alone, from the command line.
