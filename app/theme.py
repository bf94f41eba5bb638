"""How the page looks: the colours of the report, the system's fonts, light or dark as the system is."""

from pathlib import Path

import gradio as gr

STYLE = (Path(__file__).parent / "style.css").read_text()
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

# Light and dark.
PAPER, CARD, INK = ("#fbfaf8", "#131519"), ("#ffffff", "#1b1e24"), ("#1d1f24", "#e8e6e1")
SOFT, LINE, ACCENT = ("#646a76", "#9aa1ad"), ("#e4e2dd", "#2d323b"), ("#2b6cb0", "#7fb2e8")
ON_ACCENT = ("#ffffff", "#10151c")
COLOURS = {
    "body_background_fill": PAPER,
    "body_text_color": INK,
    "body_text_color_subdued": SOFT,
    "background_fill_primary": CARD,
    "background_fill_secondary": PAPER,
    "block_background_fill": CARD,
    "block_border_color": LINE,
    "border_color_primary": LINE,
    "block_label_background_fill": CARD,
    "block_label_text_color": SOFT,
    "block_title_text_color": INK,
    "input_background_fill": CARD,
    "input_border_color": LINE,
    "slider_color": ACCENT,
    "link_text_color": ACCENT,
    "checkbox_background_color_selected": ACCENT,
    "checkbox_border_color_selected": ACCENT,
    "button_primary_background_fill": ACCENT,
    "button_primary_background_fill_hover": ACCENT,
    "button_primary_text_color": ON_ACCENT,
    "button_secondary_background_fill": CARD,
    "button_secondary_background_fill_hover": PAPER,
    "button_secondary_border_color": LINE,
    "button_secondary_text_color": INK,
    "panel_background_fill": PAPER,
}


def theme() -> gr.themes.Base:
    found = gr.themes.Base(
        primary_hue="blue", neutral_hue="stone", radius_size="lg", spacing_size="md", font=SANS, font_mono=MONO
    )
    colours = {
        f"{name}{suffix}": colour
        for name, pair in COLOURS.items()
        for suffix, colour in zip(("", "_dark"), pair, strict=True)
    }
    one_for_both = {
        "color_accent": "#3d82cc",
        "block_shadow": "none",
        "block_border_width": "1px",
        "input_border_width": "1px",
    }
    return found.set(**colours, **one_for_both)
