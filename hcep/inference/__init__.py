"""A trained run as a folder that stands alone, and answers for single clips from it.

`hcep export RUN --output model/` writes the folder, `hcep predict model/ clip.mp4` asks it, and so does a program:

    import hcep

    model = hcep.load("model/")                      # hcep.inference.model.load -> Model
    answer = model.predict("clip.mp4", text="I am fine")
    print(answer.label, answer.score, answer.threshold, answer.probabilities)

What others build on (all in `hcep.inference.model` unless another module is named)::

    load(folder, *, encoder=None, device="auto") -> Model
    Model.about: Description                         # model.json, see hcep.inference.folder
    Model.training_scores: ndarray (n,), float64     # honest scores of the known training clips
    Model.training_classes: list of n class names    # and the class of each
    Model.threshold(acceptance=None) -> float        # accepts that share of them; None: about.acceptance
    Model.predict(file, *, text, text_kind, start, end, box, acceptance, timeout) -> Answer
    Model.predict_many(clips, *, acceptance, timeout, threads, asr) -> iterator of Answer, in the order of `clips`
    Model.read(clips, *, timeout, threads, asr) -> list of Media, decoded as for training
    Model.answer(media, acceptance=None) -> list of Answer; never raises for a clip that could not be read

    hcep.inference.clips.clip_of(file, ...) -> Clip; windows_of(file, seconds, ...) -> list of Clip
    hcep.inference.clips.read_clip_table(path) -> list of Clip
    hcep.inference.clips.Media: clip, frames uint8 (F, S, S, 3) or None, waveform int16 (A,) or None, samples, text,
        text_kind, flags, reason, failed
    hcep.inference.answer.Answer: clip, file, start, end, label, accepted, score, threshold, acceptance, nearest,
        probabilities, modalities, text, text_kind, flags, reason
"""
