//! The mock as its users meet it: over HTTP, and through its handles.

mod documented;
mod support;
