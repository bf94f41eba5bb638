"""The four tabs of the page, and what they share: where a video comes from (`source`) and how work is done (`work`).

Each tab is a function that adds itself to the page around it. With `app.page` alone they know Gradio.
"""
