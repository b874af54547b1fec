// Quicksort and heapsort of 64-bit numbers: unpredictable branches, no calls to libc.
#include "bench.h"

#define COUNT 60000
static uint64_t values[COUNT];

static void quick(uint64_t *a, long low, long high) {
    while (low < high) {
        uint64_t pivot = a[(low + high) / 2];
        long i = low, j = high;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i <= j) {
                uint64_t t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        quick(a, low, j);
        low = i;
    }
}

static void sift(uint64_t *a, long root, long count) {
    for (;;) {
        long child = root * 2 + 1;
        if (child >= count)
            return;
        if (child + 1 < count && a[child + 1] > a[child])
            child++;
        if (a[root] >= a[child])
            return;
        uint64_t t = a[root];
        a[root] = a[child];
        a[child] = t;
        root = child;
    }
}

static NOINLINE void heap(uint64_t *a, long count) {
    for (long i = count / 2 - 1; i >= 0; i--)
        sift(a, i, count);
    for (long end = count - 1; end > 0; end--) {
        uint64_t t = a[0];
        a[0] = a[end];
        a[end] = t;
        sift(a, 0, end);
    }
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        for (long i = 0; i < COUNT; i++)
            values[i] = next_random() >> (r & 31);
        if (r & 1)
            heap(values, COUNT);
        else
            quick(values, 0, COUNT - 1);
        for (long i = 0; i < COUNT; i += 97)
            hash = mix(hash, values[i]);
    }
    return report(hash);
}
