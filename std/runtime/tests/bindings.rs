//! The committed bindings are what the WIT says.

#[allow(dead_code)]
#[path = "../examples/bindings.rs"]
mod generator;

#[test]
fn committed_bindings_are_what_the_wit_generates() -> Result<(), Box<dyn std::error::Error>> {
    let committed =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bindings.rs"))?;
    assert!(
        generator::generate()? == committed,
        "src/bindings.rs has drifted: run `make schema` and commit it"
    );
    Ok(())
}
