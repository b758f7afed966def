//! Sticks: writes the image and the seed onto one, on any computer that runs `meadow`; no cluster and no agent is needed.
//!
//! What a device may be taken for is decided in `meadow_plan::flash`; the form of a seed is `meadow_model::seed`.

mod error;
mod flash;
mod image;
mod look;
mod seed_area;
mod table;

pub use error::StickError;
pub use flash::{Flash, Progress};
pub use image::StickImage;
pub use look::look;
pub use seed_area::SeedArea;
