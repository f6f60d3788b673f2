//! The programs that the documentation shows do what it says.

#[path = "../../examples/documented.rs"]
mod programs;

#[test]
fn the_documented_programs_do_what_they_say() {
    programs::main();
}
