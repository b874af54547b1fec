// Binary trees built, walked and freed: recursion with data, and libc's allocator.
#include "bench.h"

typedef struct tree {
    struct tree *left, *right;
    uint64_t key;
} tree;

static tree *insert(tree *t, uint64_t key) {
    if (!t) {
        t = malloc(sizeof *t);
        *t = (tree){NULL, NULL, key};
    } else if (key < t->key) {
        t->left = insert(t->left, key);
    } else {
        t->right = insert(t->right, key);
    }
    return t;
}

static uint64_t walk(const tree *t, uint64_t hash) {
    return t ? walk(t->right, mix(walk(t->left, hash), t->key)) : hash;
}

static void discard(tree *t) {
    if (t) {
        discard(t->left);
        discard(t->right);
        free(t);
    }
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        tree *root = NULL;
        for (int i = 0; i < 2000; i++)
            root = insert(root, next_random());
        hash = walk(root, hash);
        discard(root);
    }
    return report(hash);
}
