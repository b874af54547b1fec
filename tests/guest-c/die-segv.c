// The exit status of the whole emulator is the guest's death, as a shell shows it.
// status: 139
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    if (write(1, "before\n", 7) != 7)
        return 1;
    *(volatile int *)16 = 1;
    return 0;
}
