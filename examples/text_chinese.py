"""Chinese reviews, which put no blanks between words: a black box of texts explained character by character.

python examples/text_chinese.py [--out runs/text_chinese]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import pellucid

GOOD, BAD = ("精彩", "动人", "有趣", "出色"), ("无聊", "糟糕", "失望", "平淡")
ABOUT, WHEN = ("剧情", "演员的表演", "音乐", "结尾"), ("昨天晚上", "上个周末", "和朋友一起", "下雨的时候")


def reviews(count: int) -> pd.DataFrame:
    """A praise or a blame, which 不 may turn round, between things that do not matter."""
    dice, rows = np.random.default_rng(0), []
    for _ in range(count):
        good, denied = dice.random() < 0.5, dice.random() < 0.25
        word = dice.choice(GOOD if good else BAD)
        told = f"{dice.choice(ABOUT)}{'并不' if denied else '非常'}{word}"
        text = f"我{dice.choice(WHEN)}看了这部电影，{told}，片长{dice.integers(80, 180)}分钟。"
        rows.append({"评论": text, "评价": "好评" if good != denied else "差评"})
    return pd.DataFrame(rows)


def main(out: Path) -> None:
    data = pellucid.read(reviews(900), label="评价")
    signs = TfidfVectorizer(analyzer="char", ngram_range=(1, 4))
    pipeline = make_pipeline(signs, LogisticRegression(C=30)).fit(data.train.features, data.train.labels)
    model = pellucid.wrap(pipeline.predict_proba, outputs=data.classes)

    e = pellucid.explain(model, data.test[:3], "shapley", budget=512)
    print(e.text(language="zh", audience="person"))
    out.mkdir(parents=True, exist_ok=True)
    e.plot(language="zh").save(str(out / "review.html"))
    study = pellucid.audit(
        model, data, out=out / "audit", methods=["shapley", "occlusion", "lime"], rows=4, budget=128, language="zh",
        name="中文影评",
    )  # fmt: skip
    print(f"The report: {study.report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/text_chinese"))
    main(parser.parse_args().out)
