"""Where a video comes from: a file of one's own, or a click on an example."""

from collections.abc import Callable, Sequence

import gradio as gr
from gradio.events import Dependency

from app.examples import Example
from app.tabs.work import QUIET, Desk
from app.uploads import admit
from data.folder import SUFFIXES
from data.video.frames import VideoInfo
from runtime.errors import UserError


class Source:
    """A box to drop a video into, and examples below it.

    `info`, which stays on this side, is of the video that was chosen last; None if it was refused.
    """

    def __init__(self, desk: Desk, label: str, examples: Sequence[Example], chosen: int | None = None) -> None:
        self.desk, self.examples = desk, examples
        self.info = gr.State(None if chosen is None else examples[chosen].info)
        self.file = gr.File(label=label, file_types=sorted(SUFFIXES), height=84, elem_classes="dropzone")
        self.gallery = gr.Gallery(
            [(example.picture, example.caption) for example in examples],
            label="or one of these",
            columns=4,
            height="auto",
            allow_preview=False,
            selected_index=chosen,
            object_fit="cover",
            buttons=[],
            interactive=False,
            elem_classes="examples",
        )

    def chosen(self) -> list[Callable[..., Dependency]]:
        """The events after which there is another video."""
        clicked = self.gallery.select(self._clicked, None, [self.info, self.file], **QUIET)
        dropped = self.file.upload(lambda: None, None, [self.info], **QUIET)
        admitted = self.desk.job(dropped.then, admit, [self.file], [self.info])
        return [clicked.success, admitted.success]

    def _clicked(self, event: gr.SelectData) -> tuple[VideoInfo, None]:
        return self.examples[event.index].info, None


def required(info: VideoInfo | None) -> VideoInfo:
    """Raises `UserError` where nothing was chosen yet."""
    if info is None:
        raise UserError("choose a video first: one of your own, or an example")
    return info
