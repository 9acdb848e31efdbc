"""Files that change are news when they have come to rest."""

from pathlib import Path

from sendmail_py.host.file_watch import FileWatch


def test_a_change_is_news_at_the_second_look_and_until_it_is_read(tmp_path: Path) -> None:
    key, chain = tmp_path / "key", tmp_path / "chain"
    key.write_text("old")
    chain.write_text("old")
    watch, paths = FileWatch(), [str(key), str(chain)]
    watch.note(paths)
    assert not watch.has_news() and not watch.has_news()
    key.write_text("newer")
    assert not watch.has_news()
    chain.write_text("newer")
    assert not watch.has_news(), "it is still changing"
    assert watch.has_news() and watch.has_news()
    watch.note(paths)
    assert not watch.has_news() and not watch.has_news()


def test_a_file_that_is_gone_is_no_news(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    watch = FileWatch()
    watch.note([str(path)])
    path.unlink()
    assert not watch.has_news() and not watch.has_news()
    path.write_text("new one")
    assert not watch.has_news() and watch.has_news()


def test_nothing_to_watch_is_no_news() -> None:
    assert not FileWatch().has_news()
