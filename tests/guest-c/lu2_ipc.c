// System V IPC and POSIX message queues.
// flags: -static
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

#define SHOW(expr) printf("%s: %ld\n", #expr, (long)(expr))
#define FAILS(expr)                                                            \
    do {                                                                       \
        errno = 0;                                                             \
        long res_ = (long)(expr);                                                 \
        printf("%s: %ld %s\n", #expr, res_, res_ == -1 ? strerrorname_np(errno) : ""); \
    } while (0)

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static void semaphores(void) {
    int id = semget(IPC_PRIVATE, 3, 0600);
    unsigned short values[3] = {4, 5, 6}, back[4] = {0, 0, 0, 77};
    SHOW(semctl(id, 0, SETALL, (union semun){.array = values}));
    SHOW(semctl(id, 0, GETALL, (union semun){.array = back}));
    printf("%d %d %d %d\n", back[0], back[1], back[2], back[3]);
    SHOW(semctl(id, 1, SETVAL, (union semun){.val = 9}));
    SHOW(semctl(id, 1, GETVAL));
    struct sembuf op[2] = {{0, -4, 0}, {2, 1, 0}};
    SHOW(semop(id, op, 2));
    op[0].sem_flg = IPC_NOWAIT;
    FAILS(semop(id, op, 1));
    op[0].sem_flg = 0;
    struct timespec brief = {0, 10000000};
    FAILS(semtimedop(id, op, 1, &brief));
    struct {
        struct semid_ds ds;
        unsigned long after;
    } s = {.after = 0x5a5a};
    SHOW(semctl(id, 0, IPC_STAT, (union semun){.buf = &s.ds}));
    printf("nsems %ld mode %o otime %d ctime %d after %lx\n", (long)s.ds.sem_nsems,
           s.ds.sem_perm.mode, s.ds.sem_otime > 1000, s.ds.sem_ctime > 1000, s.after);
    s.ds.sem_perm.mode = 0640;
    SHOW(semctl(id, 0, IPC_SET, (union semun){.buf = &s.ds}));
    SHOW((semctl(id, 0, IPC_STAT, (union semun){.buf = &s.ds}), s.ds.sem_perm.mode == 0640));
    SHOW(semctl(id, 0, IPC_RMID));
}

static void messages(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    struct {
        long type;
        char text[16];
    } m = {3, "message"};
    SHOW(msgsnd(id, &m, 8, 0));
    struct msqid_ds ds;
    SHOW((msgctl(id, IPC_STAT, &ds), (long)ds.msg_qnum));
    memset(&m, 0, sizeof m);
    FAILS(msgrcv(id, &m, 2, 0, 0));
    SHOW(msgrcv(id, &m, 16, 0, 0));
    printf("%ld %s\n", m.type, m.text);
    FAILS(msgrcv(id, &m, 16, 0, IPC_NOWAIT));
    SHOW(msgctl(id, IPC_RMID, NULL));
}

static void memory(void) {
    int id = shmget(IPC_PRIVATE, 8192, 0600);
    char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
    strcpy(a, "shared");
    SHOW(strcmp(b, "shared"));
    struct shmid_ds ds;
    SHOW((shmctl(id, IPC_STAT, &ds), (long)(ds.shm_segsz * 10 + ds.shm_nattch)));
    SHOW(shmdt(a));
    SHOW(shmdt(b));
    FAILS(shmdt(b));
    SHOW(shmctl(id, IPC_RMID, NULL));
}

static void queues(void) {
    mq_unlink("/lu2_ipc");
    struct mq_attr attr = {.mq_maxmsg = 3, .mq_msgsize = 32}, got;
    mqd_t q = mq_open("/lu2_ipc", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr);
    SHOW(q >= 0);
    SHOW(mq_send(q, "low", 4, 1));
    SHOW(mq_send(q, "high", 5, 9));
    SHOW((mq_getattr(q, &got), got.mq_curmsgs * 100 + got.mq_msgsize));
    char buf[32];
    unsigned priority = 0;
    SHOW(mq_receive(q, buf, sizeof buf, &priority));
    printf("%s %u\n", buf, priority);
    SHOW(mq_receive(q, buf, sizeof buf, &priority));
    FAILS(mq_receive(q, buf, sizeof buf, &priority));
    SHOW(mq_unlink("/lu2_ipc"));
}

int main(void) {
    semaphores();
    messages();
    memory();
    queues();
    return 0;
}
