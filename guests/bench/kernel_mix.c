// Three classic kernels in turn: a linked list, a small matrix and a text state machine.
#include "bench.h"

typedef struct node {
    struct node *next;
    uint16_t key, data;
} node;

#define NODES 300
static node pool[NODES];

static node *list_new(uint16_t seed) {
    node *head = NULL;
    for (int i = 0; i < NODES; i++) {
        pool[i].key = (uint16_t)(seed * (i + 7) ^ i << 3);
        pool[i].data = (uint16_t)i;
        pool[i].next = head;
        head = &pool[i];
    }
    return head;
}

static NOINLINE node *list_reverse(node *list) {
    node *out = NULL;
    while (list) {
        node *next = list->next;
        list->next = out;
        out = list;
        list = next;
    }
    return out;
}

static NOINLINE node *list_merge(node *a, node *b) {
    node head = {0}, *tail = &head;
    while (a && b) {
        node **from = a->key <= b->key ? &a : &b;
        tail->next = *from;
        tail = *from;
        *from = (*from)->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

static NOINLINE node *list_sort(node *list) {
    if (!list || !list->next)
        return list;
    node *slow = list, *fast = list->next;
    while (fast && fast->next) {
        slow = slow->next;
        fast = fast->next->next;
    }
    node *right = slow->next;
    slow->next = NULL;
    return list_merge(list_sort(list), list_sort(right));
}

static NOINLINE uint16_t list_find(node *list, uint16_t key) {
    while (list && list->key < key)
        list = list->next;
    return list ? list->data : 0xffff;
}

#define N 12
static int16_t ma[N][N], mb[N][N];
static int32_t mc[N][N];

static NOINLINE uint32_t matrix(uint32_t seed) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            ma[i][j] = (int16_t)(seed + i * j);
            mb[i][j] = (int16_t)(seed ^ (i << 4) ^ j);
        }
    uint32_t sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int32_t acc = 0;
            for (int k = 0; k < N; k++)
                acc += ma[i][k] * mb[k][j];
            mc[i][j] = acc;
            sum += (uint32_t)acc >> (j & 7);
        }
    return sum;
}

enum state { START, SIGN, INT, DOT, FRAC, EXP, EXP_SIGN, EXP_DIGITS, BAD, STATES };

static NOINLINE enum state step(enum state s, char c) {
    int digit = c >= '0' && c <= '9';
    switch (s) {
    case START:
        return digit ? INT : (c == '+' || c == '-') ? SIGN : c == '.' ? DOT : BAD;
    case SIGN:
        return digit ? INT : c == '.' ? DOT : BAD;
    case INT:
        return digit ? INT : c == '.' ? DOT : c == 'e' ? EXP : BAD;
    case DOT:
    case FRAC:
        return digit ? FRAC : c == 'e' ? EXP : BAD;
    case EXP:
        return digit ? EXP_DIGITS : (c == '+' || c == '-') ? EXP_SIGN : BAD;
    case EXP_SIGN:
    case EXP_DIGITS:
        return digit ? EXP_DIGITS : BAD;
    default:
        return BAD;
    }
}

static NOINLINE uint32_t machine(uint32_t seed) {
    static const char *const words[] = {
        "12.5e+3", "-874", "+0.25", "99e9", "T0.3e-1F", "3.e", "..1",
    };
    uint32_t counts[STATES] = {0};
    for (int w = 0; w < 40; w++) {
        enum state s = START;
        for (const char *p = words[(seed + w * 5) % 7]; *p; p++) {
            s = step(s, *p);
            counts[s]++;
        }
    }
    uint32_t sum = 0;
    for (int i = 0; i < STATES; i++)
        sum = sum * 31 + counts[i];
    return sum;
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        node *list = list_sort(list_reverse(list_new((uint16_t)(r * 77 + 1))));
        for (int i = 0; i < 8; i++)
            hash = mix(hash, list_find(list, (uint16_t)(r * 1021 + i * 8191)));
        hash = mix(hash, matrix((uint32_t)r));
        hash = mix(hash, machine((uint32_t)r));
    }
    return report(hash);
}
