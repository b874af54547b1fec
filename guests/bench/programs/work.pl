# Interpreter work: hashes, arrays, regular expressions, string building, sorting, closures.
use strict;
use warnings;

my $seed = 12345;
sub number { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return $seed >> 8; }

my %count;
$count{ 'w' . number() % 700 }++ for 1 .. 60000;
my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$_ $count{$_}\n" for @top[ 0 .. 4 ];

my $text = join ' ', map { "w$_" } map { number() % 900 } 1 .. 20000;
my $hits = () = $text =~ /\bw(\d)\1\d?\b/g;
( my $other = $text ) =~ s/w1(\d)/<$1>/g;
print $hits, ' ', length $other, ' ', ( $text =~ tr/5/5/ ), "\n";

my @adders = map { my $n = $_; sub { $_[0] + $n } } 1 .. 10;
my $sum = 0;
for my $i ( 1 .. 30000 ) { $sum = $adders[ $i % 10 ]->($sum) % 1000003; }
print "$sum\n";

my @sieve = (1) x 60000;
for my $i ( 2 .. 244 ) {
    next unless $sieve[$i];
    for ( my $j = $i * $i ; $j < @sieve ; $j += $i ) { $sieve[$j] = 0; }
}
print scalar( grep { $_ } @sieve[ 2 .. $#sieve ] ), "\n";
