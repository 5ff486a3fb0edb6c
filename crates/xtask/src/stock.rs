//! Stock Serf agents in containers of the same network, as users of Serf have them: on their
//! default bind, scaled while the balancer is killed and started again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roundel_testkit::external;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::step::{command, output, run};

/// The service of stock agents.
const SERVICE: &str = "stock";

/// How many agents there are at most, and between.
const MANY: usize = 25;
const FEW: usize = 8;

/// How long a change may take: mostly the time in which containers start or stop on two cores.
const PATIENCE: Duration = Duration::from_secs(90);

/// The app and the agent beside it, which leaves when it is told to stop.
const START: &str = "/roundel toy --listen :3000 & \
    exec /serf agent -retry-join=lb -retry-interval=1s -tag role=backend -tag port=3000";

/// Scales stock agents up, down and up, and has the balancer killed and started again: no agent is
/// in conflict, none ends, all serve. Leaves them running in `cluster`.
pub(crate) fn try_out(cluster: &mut Cluster, binary: &Path) -> Result<()> {
    let image = cluster.stock_image();
    build_image(&image, binary)?;
    let folder = tempfile::tempdir()?;
    cluster.extend(compose_file(folder, &image)?);
    for count in [MANY, FEW, MANY] {
        cluster.scale_all(&[("webapp", 0), (SERVICE, count)])?;
        cluster.wait_up(count, PATIENCE)?;
    }
    let balancer = cluster.containers("lb")?;
    let balancer = balancer.first().context("a balancer is running")?;
    for act in ["kill", "start"] {
        output(&mut command("docker", &[act, balancer]))?;
    }
    let begun = Instant::now();
    cluster.wait_up(MANY, PATIENCE)?;
    let took = begun.elapsed().as_secs_f64();
    println!("a balancer started anew serves with {MANY} stock agents after {took:.1} s");
    let agents = cluster.containers(SERVICE)?;
    ensure!(agents.len() == MANY, "{} agents", agents.len());
    agents.iter().try_for_each(|agent| check_agent(agent))
}

/// The agent runs, and never took anybody for somebody else.
fn check_agent(agent: &str) -> Result<()> {
    let running = ["inspect", "-f", "{{.State.Running}}", agent];
    let running = output(&mut command("docker", &running))?;
    let log = command("docker", &["logs", agent]).output()?;
    let log = [log.stdout, log.stderr].concat();
    let log = String::from_utf8_lossy(&log).to_lowercase();
    ensure!(running == "true", "the agent {agent} ended: {log}");
    ensure!(log.contains("agent: serf agent starting"), "no log: {log}");
    ensure!(!log.contains("conflict"), "{agent} is in conflict: {log}");
    Ok(())
}

/// Adds the service to docker/compose.yaml. A balancer that is started again finds the agents by
/// their common name.
fn compose_file(folder: TempDir, image: &str) -> Result<(TempDir, PathBuf)> {
    let path = folder.path().join("stock.yaml");
    let text = format!(
        "services:\n  \
           lb:\n    \
             command: [serve, --join, {SERVICE}]\n  \
           {SERVICE}:\n    \
             image: {image}\n    \
             stop_signal: SIGINT\n"
    );
    fs::write(&path, text)?;
    Ok((folder, path))
}

/// Makes an image of what is on this machine: Debian's agent with its libraries, a shell, the app.
fn build_image(tag: &str, binary: &Path) -> Result<()> {
    let find = |name, package| external(name, package).with_context(|| format!("no {name}"));
    let serf = find("serf", "serf")?;
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    let put = |from: &Path, to: &str| -> Result<()> {
        let to = files.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(from, to)?;
        Ok(())
    };
    put(&find("busybox", "busybox-static")?, "bin/busybox")?;
    symlink("busybox", files.join("bin/sh"))?;
    put(binary, "roundel")?;
    put(&serf, "serf")?;
    let needed = output(command("ldd", &[]).arg(&serf))?;
    let paths = needed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for path in paths {
        put(Path::new(path), path)?;
    }
    let start = serde_json::to_string(&["/bin/sh", "-c", START])?;
    fs::write(
        folder.path().join("Dockerfile"),
        format!("FROM scratch\nCOPY files/ /\nCMD {start}\n"),
    )?;
    run(command("docker", &["build", "--quiet", "--tag", tag]).arg(folder.path()))
}
