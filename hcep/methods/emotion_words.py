"""A fixed list of words for states of feeling, against which the known classes are weighed by `distance_lexicon`."""

# words that fit "This video is ...", in the order of the alphabet; a change changes results
_LINES = """
admiring affectionate afraid aggressive agitated alarmed amazed ambivalent amused angry annoyed anxious apathetic
apologetic appreciative apprehensive aroused ashamed astonished aversive awed awkward bewildered bitter bored calm
caring cautious cheerful compassionate complacent concerned confident confused contemptuous content cruel curious
defensive defiant dejected delighted depressed desperate detached determined devoted disappointed disapproving
discouraged disdainful disgusted dismayed dissatisfied distressed distrustful doubtful dreamy eager ecstatic
embarrassed empathetic enraged enthusiastic envious euphoric excited exhausted expectant exuberant fascinated
fearful forgiving frightened frustrated furious gloomy grateful greedy grieving guilty happy hateful helpless
hesitant hopeful hopeless horrified hostile humble humiliated hurt hysterical impatient impressed indifferent
indignant insecure inspired insulted interested irritated jealous joyful jubilant lonely longing loving melancholic
miserable mocking mournful moved neglected nervous neutral nostalgic optimistic outraged overwhelmed pained panicked
passionate peaceful pensive perplexed pessimistic playful pleased powerless proud puzzled reassured regretful
rejected relaxed relieved reluctant remorseful resentful resigned respectful restless sad sarcastic satisfied scared
scornful self-conscious sentimental serene serious shocked shy smug sorrowful startled stressed stubborn surprised
suspicious sympathetic tender tense terrified thankful thoughtful threatened thrilled tired tormented touched
tranquil triumphant troubled trusting uncertain uncomfortable uneasy unhappy unsure upset vengeful vulnerable weary
wistful worried yearning
"""
EMOTION_WORDS = tuple(_LINES.split())
