//! Generates the header into OUT_DIR and names the shared library's ABI.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The number is raised whenever a program built against the earlier library would no longer run.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libminikv.so.0");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=cbindgen.toml");

    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let header = PathBuf::from(std::env::var("OUT_DIR")?).join("minikv.h");
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml"))?;
    let bindings = cbindgen::Builder::new().with_crate(&here).with_config(config).generate()?;
    bindings.write_to_file(header);
    Ok(())
}
