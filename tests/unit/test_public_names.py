import sisock


def test_dir_lists_the_public_names():
    assert set(sisock.__all__) <= set(dir(sisock))
    assert all(hasattr(sisock, name) for name in dir(sisock))
