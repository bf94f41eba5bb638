"""Where a video comes from: a file of one's own, or a click on an example."""

from collections.abc import Sequence

import gradio as gr

from app.examples import Example
from data.folder import SUFFIXES


class Source:
    """A box to drop a video into, and examples below it; `path` holds what was chosen last, on this side alone."""

    def __init__(self, label: str, examples: Sequence[Example], chosen: int | None = None) -> None:
        self.examples = examples
        self.path = gr.State(None if chosen is None else str(examples[chosen].path))
        self.file = gr.File(label=label, file_types=sorted(SUFFIXES), height=110)
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

    def chosen(self) -> list[gr.events.Dependency]:
        """The two events after which there is another video: `.then` may follow each."""
        settings = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        uploaded = self.file.upload(lambda path: path, [self.file], [self.path], **settings)
        clicked = self.gallery.select(self._clicked, None, [self.path, self.file], **settings)
        return [uploaded, clicked]

    def _clicked(self, event: gr.SelectData) -> tuple[str, None]:
        return str(self.examples[event.index].path), None
