//! `meadow image flash`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use meadow_model::seed::Seed;
use meadow_plan::flash::{self, FlashPlan, Target, TargetKind};
use meadow_stick::{Flash, StickError, StickImage, look};
use tokio::sync::mpsc;

use super::seed::SeedWish;
use super::{Context, confirm_risk};
use crate::args::FlashArgs;
use crate::exit::{Exit, Failure};
use crate::output::say;
use crate::views::{ShownSeed, decimal_bytes};

/// Where `make install` puts the image, from the folder of this program.
const INSTALLED: &str = "../share/meadow/image/stick.img";
/// Where `make image` puts it, in a checkout.
const BUILT: &str = "target/image/stick.img";

pub(super) async fn run(context: &Context, args: FlashArgs) -> anyhow::Result<()> {
    let image = StickImage::open(&image_path(args.image.as_deref())?)?;
    let target = look(&args.to)?;
    let plan = flash::plan(&target, image.size(), args.fixed_disk)
        .map_err(|refusal| Failure::new(Exit::Conflict, refusal.to_string()))?;
    // What is wrong with a seed is told before anything is asked.
    let wish = if args.seed.is_silent() { None } else { Some(SeedWish::new(None, &args.seed)?) };
    show(&target, &plan, &image);
    if args.dry_run {
        return Ok(());
    }
    if let Some(word) = &plan.consent {
        confirm_risk(context, &args.risk, "wipe-disk", word, &consequence(&target, &plan))?;
    }
    let seed = match wish {
        Some(wish) => Some(wish.complete(context).await?),
        None => None,
    };
    let words = seed.as_ref().map_or_else(without_seed, |seed| ShownSeed::of(seed).in_words());
    write(image, target, seed).await?;
    say(&format!("{} is written and was read back; it may be unplugged. Booted from it {words}", args.to.display()));
    Ok(())
}

fn without_seed() -> String {
    "the computer waits for a server on its LAN, or for a seed (meadow image seed).".to_owned()
}

fn image_path(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let program = std::env::current_exe().ok();
    let installed = program.as_deref().and_then(Path::parent).map(|folder| folder.join(INSTALLED));
    let places: Vec<PathBuf> = installed.into_iter().chain([PathBuf::from(BUILT)]).collect();
    if let Some(found) = places.iter().find(|path| path.exists()) {
        return Ok(found.clone());
    }
    let looked: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
    let message = format!(
        "there is no image of a stick in {}; build one with `make image`, or name it with --image",
        looked.join(" nor in ")
    );
    Err(Failure::new(Exit::NotFound, message).into())
}

fn show(target: &Target, plan: &FlashPlan, image: &StickImage) {
    let disk = &target.disk;
    let size = decimal_bytes(disk.size_bytes);
    say(&match target.kind {
        TargetKind::NewFile => format!("{}: a new file of {}", target.path, decimal_bytes(image.size())),
        TargetKind::File => format!("{}: a file of {size}", target.path),
        TargetKind::Portable | TargetKind::Fixed => {
            let (model, serial) = (disk.model.as_deref().unwrap_or("a disk"), disk.serial.as_deref());
            let serial =
                serial.map_or_else(|| "without a serial number".to_owned(), |serial| format!("serial {serial}"));
            let way = disk.transport.as_deref().map(|way| format!(", {way}")).unwrap_or_default();
            format!("{}: {model} of {size}, {serial}{way}", target.path)
        }
    });
    match plan.loses.as_slice() {
        [] => say("  It is blank: nothing is lost."),
        loses => loses.iter().for_each(|lost| say(&format!("  LOST: {lost}"))),
    }
    say(&format!("  gets {} ({})", image.path().display(), decimal_bytes(image.size())));
}

fn consequence(target: &Target, plan: &FlashPlan) -> String {
    match plan.loses.as_slice() {
        [] => format!("{} becomes a Meadow stick.", target.path),
        loses => format!("{} is wiped. Lost for ever: {}.", target.path, loses.join(", ")),
    }
}

/// On a thread of its own, so that Ctrl-C ends it at once: a stick that is cut off boots nowhere and is written again.
async fn write(image: StickImage, target: Target, seed: Option<Seed>) -> anyhow::Result<()> {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let (ended, end) = tokio::sync::oneshot::channel();
    let work = move || {
        let mut last = None;
        let progress = &mut |step: &str, percent: u8| {
            let news = (step.to_owned(), percent);
            if last.as_ref() != Some(&news) {
                last = Some(news.clone());
                // Nobody listens any more where the person has had enough.
                let _ = heard.send(news);
            }
        };
        let result = Flash { image: &image, target: &target, seed: seed.as_ref() }.run(progress);
        let _ = ended.send(result);
    };
    std::thread::Builder::new().name("flash".to_owned()).spawn(work)?;
    let mut shown = Meter::new();
    while let Some((step, percent)) = hears.recv().await {
        shown.tell(&step, percent);
    }
    shown.end();
    end.await
        .map_err(|_| anyhow::anyhow!("the writer crashed; the stick is not complete, write it again"))?
        .map_err(failure)
}

fn failure(error: StickError) -> anyhow::Error {
    match error {
        StickError::SameFile(_) | StickError::Changed(_) => Failure::new(Exit::Conflict, error.to_string()).into(),
        other => other.into(),
    }
}

/// How far it is: one line that changes on a terminal, a line a step elsewhere.
struct Meter {
    terminal: bool,
    step: String,
}

impl Meter {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), step: String::new() }
    }

    fn tell(&mut self, step: &str, percent: u8) {
        if self.terminal {
            // Where stderr is closed nobody wants to see it.
            let _ = write!(std::io::stderr(), "\r  {step:12} {percent:3} %");
        } else if self.step != step {
            say(&format!("  {step}"));
        }
        step.clone_into(&mut self.step);
    }

    fn end(&self) {
        if self.terminal && !self.step.is_empty() {
            let _ = writeln!(std::io::stderr());
        }
    }
}
