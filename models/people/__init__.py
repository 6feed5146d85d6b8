"""Who is there, and who of them speaks: faces, voices and lips.

In: crops of faces, the sound of utterances, the movement of lips. Out: vectors that tell people
apart, and how well lips go with the sound.
"""
