# Interpreter work of many kinds: objects, strings, dictionaries, generators, json, regular
# expressions, big integers.
import json
import re


class Node:
    def __init__(self, value):
        self.value, self.left, self.right = value, None, None

    def insert(self, value):
        side = "left" if value < self.value else "right"
        child = getattr(self, side)
        if child is None:
            setattr(self, side, Node(value))
        else:
            child.insert(value)

    def walk(self):
        if self.left:
            yield from self.left.walk()
        yield self.value
        if self.right:
            yield from self.right.walk()


def numbers(count, seed=12345):
    for _ in range(count):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        yield seed >> 8


def main():
    root = Node(4_000_000)
    for n in numbers(2000):
        root.insert(n)
    print(sum(i * v for i, v in enumerate(root.walk())))
    words = ["w%d" % (n % 700) for n in numbers(20000)]
    counts = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    print(json.dumps(json.loads(json.dumps({"top": top, "n": len(counts)}))))
    text = " ".join(words)
    print(len(re.findall(r"\bw(\d)\1\d?\b", text)), len(re.sub(r"w1(\d)", r"<\1>", text)))
    print(pow(3, 20011, 2**521 - 1) % 1_000_003, sum(x * x % 7 for x in range(60000)))
    floats = [((i * 37) % 101) / 7.0 for i in range(20000)]
    print("%.6f" % sum(f * f - f for f in floats))


main()
