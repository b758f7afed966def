//! Which page is shown, what keys do, and what is wanted of the agent.

use std::time::Duration;

use meadow_client::ClientError;
use meadow_model::Secret;
use meadow_model::hardware::Disk;
use meadow_model::install::{InstallMode, InstallPlan};
use meadow_model::network::{NetworkChange, NetworkView};
use meadow_model::reset::{ResetPlan, ResetRequest};
use meadow_model::work::{StickUpdate, SupportTask};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use crate::install::Installation;
use crate::keys::Key;
use crate::network::Editor;
use crate::page::{Page, render, title};
use crate::reset::Reset;
use crate::rows::{Rows, wrap};
use crate::sticks::{Purpose, Sticks};
use crate::{qr, setup};

/// Without a key for so long, what was typed is forgotten and the first page is shown again.
pub const IDLE: Duration = Duration::from_secs(300);
/// Lines that something told at the bottom takes at most.
const FOOT: usize = 4;

/// What somebody at the console wants of the agent.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Network settings, for a minute.
    Try(NetworkChange),
    /// The trial ended.
    EndTrial {
        /// Whether the settings stay.
        keep: bool,
    },
    /// A plan for a disk.
    Plan {
        /// Its serial number.
        serial: String,
        /// How much of a system.
        mode: InstallMode,
    },
    /// The node on a disk, by a plan that somebody consented to.
    Install {
        /// The plan.
        plan: Box<InstallPlan>,
        /// What is to open the state.
        passphrase: Secret<String>,
    },
    /// The computer restarted.
    Restart,
    /// Its disks, as they are now.
    LookAtDisks,
    /// A plan for a factory reset.
    PlanReset {
        /// Serial numbers of further disks to wipe.
        disks: Vec<String>,
    },
    /// A factory reset, by a plan that somebody consented to.
    Reset(ResetRequest),
    /// The image of a stick.
    Update(StickUpdate),
    /// A support bundle on a stick.
    Support(SupportTask),
}

/// The console.
#[derive(Default)]
pub struct App {
    /// What the agent said of the machine.
    pub page: Page,
    /// How the network cards are set; `None` until the agent said it.
    pub network: Option<NetworkView>,
    pub(crate) installation: Installation,
    pub(crate) reset: Reset,
    pub(crate) sticks: Sticks,
    /// The disks of this computer as it looked at them last, in its cluster or not; `None` until it did.
    disks: Option<Vec<Disk>>,
    editor: Editor,
    place: Place,
    said: Option<String>,
    /// Why the agent does not tell what it is asked for; until it does.
    silent: Option<String>,
}

/// An error for who stands here: what is wrong and what to do next.
pub(crate) fn told(error: &ClientError) -> String {
    match error {
        ClientError::Problem(problem) => format!("{}. {}", problem.detail.trim_end_matches('.'), problem.hint),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Overview,
    Setup,
    Network,
    Install,
    Reset,
    Sticks,
    Code,
}

impl App {
    /// Takes a key: what somebody wants by it, and whether all is to be drawn anew, for whoever has just come to the line.
    pub fn press(&mut self, key: Key) -> (Option<Wish>, bool) {
        let before = self.place;
        let wish = self.key(key);
        let moved = self.place != before;
        if moved || wish.is_some() {
            self.said = None;
        }
        let reading = matches!(before, Place::Overview | Place::Setup | Place::Code);
        (wish, moved || reading || key == Key::Other)
    }

    fn key(&mut self, key: Key) -> Option<Wish> {
        match (self.place, key) {
            (_, Key::Escape) if self.installation.stays() => None,
            (_, Key::Escape) if self.reset.is_held() || self.sticks.is_held() => {
                self.said = Some("it goes on; stay until it has ended".to_owned());
                None
            }
            (_, Key::Escape) => {
                self.forget();
                self.place = if self.place == Place::Setup { Place::Overview } else { Place::Setup };
                None
            }
            (Place::Network, key) => self.network.as_ref().and_then(|view| self.editor.press(key, view)),
            (Place::Install, key) => self.installation.press(key, disks(&self.page)),
            (Place::Reset, key) => self.reset.press(key, self.disks.as_deref().unwrap_or_default()),
            (Place::Sticks, key) => self.sticks.press(key, self.disks.as_deref().unwrap_or_default()),
            (_, Key::Char(letter)) => self.go(letter),
            _ => None,
        }
    }

    /// To the page that this letter stands for, and what is wanted there first.
    fn go(&mut self, letter: char) -> Option<Wish> {
        let (place, wish) = match letter {
            'o' => (Place::Overview, None),
            's' => (Place::Setup, None),
            'n' => (Place::Network, None),
            'i' => (Place::Install, None),
            'c' => (Place::Code, None),
            'r' => (Place::Reset, Some(Wish::LookAtDisks)),
            'u' | 'b' => {
                self.sticks = Sticks::new(if letter == 'u' { Purpose::Update } else { Purpose::Bundle });
                (Place::Sticks, Some(Wish::LookAtDisks))
            }
            _ => return None,
        };
        self.place = place;
        wish
    }

    /// Whether leaving would lose something, or tell too early that nothing happens.
    fn is_held(&self) -> bool {
        self.installation.is_held() || self.reset.is_held() || self.sticks.is_held()
    }

    /// Whatever was typed and chosen.
    fn forget(&mut self) {
        self.installation = Installation::default();
        self.reset = Reset::default();
        self.sticks = Sticks::default();
        self.disks = None;
        self.editor = Editor::default();
    }

    /// Nobody has pressed a key for [`IDLE`].
    pub fn idle(&mut self) {
        if !self.is_held() {
            self.forget();
            self.place = Place::Overview;
            self.said = None;
        }
    }

    /// Whether the network settings are shown now.
    #[must_use]
    pub fn shows_network(&self) -> bool {
        matches!(self.place, Place::Setup | Place::Network)
    }

    /// The newest network settings.
    pub fn network_is(&mut self, view: NetworkView) {
        self.silent = None;
        self.editor.fill(&view);
        self.network = Some(view);
    }

    /// The plan of an installation that was asked for.
    pub fn planned(&mut self, plan: InstallPlan) {
        if self.place == Place::Install {
            self.installation.planned(plan);
        }
    }

    /// The disks of this computer.
    pub fn disks_are(&mut self, disks: Vec<Disk>) {
        self.disks = Some(disks);
    }

    /// The plan of a reset that was asked for.
    pub fn reset_planned(&mut self, plan: ResetPlan) {
        if self.place == Place::Reset {
            self.reset.planned(plan);
        }
    }

    /// The agent did not do what was wanted.
    pub fn failed(&mut self, error: &ClientError) {
        let fields = match error {
            ClientError::Problem(problem) => problem.fields.clone(),
            _ => Vec::new(),
        };
        let told = told(error);
        match self.place {
            Place::Install => self.installation.fail(told),
            Place::Reset => self.reset.fail(told),
            Place::Sticks => self.sticks.fail(told),
            _ if error.problem().is_none() => self.silent = Some(told),
            _ if fields.is_empty() => self.said = Some(told),
            _ => self.editor.refuse(fields),
        }
    }

    /// The agent did not tell what is shown here; told until it does.
    pub(crate) fn not_told(&mut self, error: &ClientError) {
        self.silent = Some(told(error));
    }

    /// Something to tell at the bottom.
    pub fn say(&mut self, text: impl Into<String>) {
        self.said = Some(text.into());
    }

    /// Draws the page.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let (foot, style) = match self.said.as_ref().or(self.silent.as_ref()) {
            Some(said) => (wrap(said, width + 1, FOOT), Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD)),
            None => (vec![self.hints().to_owned()], Style::new().fg(Color::Cyan)),
        };
        let lines = u16::try_from(foot.len()).unwrap_or(1);
        let height = area.height.saturating_sub(lines);
        let (body, rest) = (Rect { height, ..area }, Rect { y: area.y + height, height: area.height - height, ..area });
        match self.place {
            Place::Overview => render(&self.page, body, buffer),
            _ => {
                let mut rows = Rows::new(body, buffer);
                title(&self.page, &mut rows);
                self.draw_place(&mut rows);
            }
        }
        if self.place == Place::Code {
            self.draw_code(body, buffer);
        }
        let mut rows = Rows::new(rest, buffer);
        foot.iter().for_each(|line| rows.line(line, style));
    }

    fn draw_place(&self, rows: &mut Rows<'_>) {
        match self.place {
            Place::Setup => setup::render(&self.page, self.network.as_ref(), rows),
            Place::Network => self.editor.render(self.network.as_ref(), rows),
            Place::Install => self.installation.render(disks(&self.page), rows),
            Place::Reset => self.reset.render(self.disks.as_deref(), rows),
            Place::Sticks => self.sticks.render(self.disks.as_deref(), rows),
            Place::Overview | Place::Code => {}
        }
    }

    fn draw_code(&self, body: Rect, buffer: &mut Buffer) {
        let below = Rect { y: body.y + 1.min(body.height), height: body.height.saturating_sub(1), ..body };
        let text = self.page.view.as_ref().and_then(qr::text);
        let drawn = match text {
            Some(text) => qr::draw(&text, below, buffer),
            None => Err("there is no key to show yet".to_owned()),
        };
        if let Err(why) = drawn {
            Rows::new(below, buffer).long_fact("Code", &why, 4, Style::new());
        }
    }

    fn hints(&self) -> &'static str {
        let trying = self.network.as_ref().is_some_and(|view| view.trial.is_some());
        match self.place {
            Place::Overview => " s setup and repair   n network   i install   c code for a telephone",
            Place::Setup => " o overview  n network  i install  u update  b bundle  r reset  c code  Esc back",
            Place::Code => " o overview   s setup and repair   Esc back",
            Place::Network if trying => " k keep   b back to the settings before   Esc leave",
            Place::Network => " Up/Down line   Left/Right choose   Enter try for 60 s   Esc leave",
            Place::Install => self.installation.hints(),
            Place::Reset => self.reset.hints(),
            Place::Sticks => self.sticks.hints(),
        }
    }
}

/// The disks, as the node told them.
fn disks(page: &Page) -> &[Disk] {
    page.view.as_ref().and_then(|view| view.disks.as_ref()).map_or(&[], |known| &known.disks)
}
