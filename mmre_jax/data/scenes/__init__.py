"""The embedded data set `scenes`: small pictures and sentences made by a generator, where labels need both.

draw.py paints a picture, language.py makes names and sentences, compose.py puts a scene together; readers/scenes.py makes records of it.
"""
