//! Behaviour through the public interface.

mod vectors;
