//! The static binary, and a builder image that holds it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use roundel_testkit::external;

use crate::step::{command, output, root, run};

/// The most that the image may weigh.
pub(crate) const MOST_BYTES: u64 = 18_000_000;

/// Everything linked in, and what has to be moved at the start listed in short: 0.7 MB less.
const FLAGS: &str = "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs";

/// Functions that came out alike are kept once: 180 KB less. Only lld knows how, the compiler's own linker
/// for this target.
const FOLDED: (&str, &str) = ("x86_64-unknown-linux-gnu", " -C link-arg=-Wl,--icf=all");

/// The user of the image: "nonroot" of the distroless images.
const USER: &str = "65532:65532";

/// Builds the binary of profile `dist` with everything linked in, and gives its path.
pub(crate) fn static_binary() -> Result<PathBuf> {
    let about = output(&mut command("rustc", &["-vV"]))?;
    let target = about.lines().find_map(|line| line.strip_prefix("host: "));
    let target = target.context("rustc names its host")?;
    let build = [
        "build",
        "--profile=dist",
        "--locked",
        "-p",
        "roundel",
        "--target",
        target,
    ];
    let folded = if target == FOLDED.0 { FOLDED.1 } else { "" };
    run(command("cargo", &build).env("RUSTFLAGS", format!("{FLAGS}{folded}")))?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    Ok(folder.join(target).join("dist/roundel"))
}

/// Makes an image that stands in for a Rust builder: a shell and the finished binary.
///
/// `docker/build.sh` takes the binary from `/prebuilt`. Busybox is Debian's static one.
pub(crate) fn prebuilt_builder(tag: &str, binary: &Path) -> Result<()> {
    let Some(busybox) = external("busybox", "busybox-static") else {
        bail!("busybox is missing");
    };
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    for part in ["bin", "prebuilt"] {
        fs::create_dir_all(files.join(part))?;
    }
    fs::copy(busybox, files.join("bin/busybox"))?;
    for applet in ["sh", "cp", "mkdir"] {
        symlink("busybox", files.join("bin").join(applet))?;
    }
    fs::copy(binary, files.join("prebuilt/roundel"))?;
    fs::write(
        folder.path().join("Dockerfile"),
        "FROM scratch\nCOPY files/ /\n",
    )?;
    run(command("docker", &["build", "--quiet", "--tag", tag]).arg(folder.path()))
}

/// Checks what the image promises: small, not root, nothing in it but the binary and an empty
/// folder.
pub(crate) fn check(image: &str) -> Result<()> {
    let look = |what| {
        output(&mut command(
            "docker",
            &["image", "inspect", "-f", what, image],
        ))
    };
    let size: u64 = look("{{.Size}}")?.parse()?;
    println!("image {image}: {size} bytes");
    if size > MOST_BYTES {
        bail!("the image weighs {size} bytes, more than {MOST_BYTES}");
    }
    let user = look("{{.Config.User}}")?;
    if user != USER {
        bail!("the image runs as {user:?}, not as {USER}");
    }
    let layers = look("{{len .RootFS.Layers}}")?;
    if layers != "2" {
        bail!("the image has {layers} layers, not two");
    }
    Ok(())
}
